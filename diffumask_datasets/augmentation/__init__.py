"""Splicing, blur, occlusion and perspective: image, masks and objects together."""
