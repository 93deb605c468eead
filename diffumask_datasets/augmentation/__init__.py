"""Composition, splicing, blur, occlusion and perspective: image, masks and objects together."""
