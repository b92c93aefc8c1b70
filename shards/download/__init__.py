"""The official recordings, from their records on Zenodo to folders that `shards.pack` reads.

`corpora` says which record holds which part of which year, `zenodo` reads a record, `client` asks for it,
`fetch` brings one archive whole and verified, `unpack` makes folders of it, `bars` shows how far it is, `selection`
says what is asked for and what of it is there, `next_step` what to run then.
"""
