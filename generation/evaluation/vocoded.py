"""Real clips through a generator's features and vocoder: what its sounds would be if it generated perfectly."""

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd

from generation.recipes import VocoderOptions
from generation.rundir import DESCRIPTION
from shared.features.spec import FeatureSpec
from shared.files import read_json

BATCH = 16  # clips that pass through the vocoder together


def features_of(run: Path | None) -> FeatureSpec | None:
    """What the generator of this run generates; None if it is unknown."""
    if run is None or not (run / DESCRIPTION).is_file():
        return None
    features = read_json(run / DESCRIPTION).get("features")
    return FeatureSpec(**features) if features else None


def vocoder_of(run: Path, origin: dict[str, Any]) -> VocoderOptions:
    """The vocoder of the samples: that of samples.json or, if it does not say, that of the generator's run."""
    config = run / "config.json"
    said = origin.get("options") or (read_json(config)["options"] if config.is_file() else {})
    if (name := origin.get("vocoder")) and said.get("vocoder", "auto") not in ("auto", name):
        said = {"vocoder": name}  # not the one of the run's training
    names = [field.name for field in dataclasses.fields(VocoderOptions)]
    given = {name: said[name] for name in names if name in said}
    return VocoderOptions(**{k: Path(v) if k.endswith(("_path", "_dir")) and v else v for k, v in given.items()})


def vocode(
    files: dict[str, pd.DataFrame], spec: FeatureSpec, how: VocoderOptions, folder: Path, device: str
) -> dict[str, pd.DataFrame]:
    """Write the vocoded clips into ``folder``; the tables of files with their paths replaced.

    It imports PyTorch, so call it in its own process.
    """
    import torch
    from tqdm import tqdm

    from generation.vocoders.vocoder import make_vocoder
    from shared.audio import write_wav
    from shared.features.transforms import extract
    from shared.runs.loop import pick_device

    where = pick_device(device)
    vocoder = make_vocoder(how.vocoder, spec, device=where, **how.vocoder_details)
    written = {}
    for name, table in files.items():
        paths = [str(folder / name / f"{i:05d}.wav") for i in range(len(table))]
        bar = tqdm(range(0, len(table), BATCH), desc=f"{name}: vocoder", unit="batch", disable=None, leave=False)
        for start in bar:
            part = slice(start, start + BATCH)
            S = torch.stack([torch.from_numpy(extract(path, spec)) for path in table.path.iloc[part]])
            for path, y in zip(paths[part], vocoder(S.to(where)).cpu().numpy(), strict=True):
                write_wav(path, y, spec.sr)
        written[name] = table.assign(path=paths)
    return written
