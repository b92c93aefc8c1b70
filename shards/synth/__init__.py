"""A factory that can be heard without a download: a small physical model of machines, their faults and their hall.

`machine` says what one machine is, `nominal` lists the types, `tolerance` makes units and running states of them,
`faults` damages one, `sound` renders its excitation and body, `hall` adds room, microphone and factory noise; `domains`
says which conditions a section has in its source and target domain, `conditions` what they do; `clip` puts one clip
together, `layouts` names it, `factory` writes the whole set.
"""
