"""Reading attention: the tap, the recorder, token alignment and fusion. Pure tensor maths, no diffusers."""
