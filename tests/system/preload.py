"""What the fork server of launch.py imports once for all ranks."""

import torch._dynamo

import eval as eval_script
import train_ddp
from asd import offline, training
from tests.system import hooks

__all__ = ["eval_script", "hooks", "offline", "torch", "train_ddp", "training"]
