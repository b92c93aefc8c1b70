"""Pre-trained encoders, whose weights lie in a file that the user brings: one file each, listed in asd/backbones."""
