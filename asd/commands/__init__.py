"""One file per command of train_ddp.py and eval.py."""
