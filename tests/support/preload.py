"""What the fork server of launch.py imports once for all ranks."""

import torch._dynamo

import eval as eval_script
import train_ddp
from asd.commands import score, train
from tests.support import hooks

__all__ = ["eval_script", "hooks", "score", "torch", "train", "train_ddp"]
