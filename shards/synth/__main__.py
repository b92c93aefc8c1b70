"""Make a factory in the layout of DCASE 2020, 2021, 2022 or 2026 Task 2, from a physical model of its machines.

python -m shards.synth --out data/factory
python -m shards.synth --layout dcase2022 --out data/factory_2022
"""

from __future__ import annotations

from collections.abc import Sequence

from asd.errors import run_main
from asd.text.shell import command
from shards.synth.arguments import factory_of, parse_args
from shards.synth.factory import FactoryConfig, write_factory
from shards.workers import clean_up_on_signals


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv, __doc__)
    config = factory_of(args)
    with clean_up_on_signals():
        count = write_factory(config, args.out, args.workers)
    print(f"{args.out}: {count} clips of {args.clip_s:g} s, {_units(config)}")
    channels = ("--channel", "0,1") if config.layout.microphones == 2 else ()
    places = ("--source", args.out, *channels, "--out", f"{args.out}_packed")
    print(f"next: {command('python', '-m', 'shards.pack', '--layout', args.layout, *places)}")
    return 0


def _units(config: FactoryConfig) -> str:
    count = sum(len(machine_ids) for machine_ids in config.machine_ids.values())
    what = "IDs" if config.layout.target_share is None else "sections"
    return f"{count} {what} of {len(config.machine_ids)} machine types"


if __name__ == "__main__":
    run_main(main)
