"""Score wav files with an exported detector by onnxruntime and numpy alone: no torch, nothing of this project.

    pip install numpy onnxruntime
    python onnx_detector.py detector.onnx pump/1 recordings/*.wav

The files must be 16-bit PCM at the detector's rate; of several channels those count that it was trained on. A recording
is heard in windows of the detector's length, side by side; its score is the mean of those that hold sound, as in
`eval.py clips`.
"""

import json
import sys
import wave

import numpy as np
import onnxruntime


def read_wav(path: str, rate: int, channel: int | list[int] | str | None) -> np.ndarray:
    """(samples,) int16 of a channel or of the average, (2, samples) of a near and a reference microphone."""
    with wave.open(path, "rb") as file:
        if file.getsampwidth() != 2 or file.getframerate() != rate:
            raise ValueError(f"it has {8 * file.getsampwidth()} bits at {file.getframerate()} Hz, not 16 at {rate} Hz")
        raw, size = file.readframes(file.getnframes()), 2 * file.getnchannels()
        samples = np.frombuffer(raw[: len(raw) // size * size], "<i2").reshape(-1, file.getnchannels()).T
    if channel == "average":
        return np.rint(samples.mean(axis=0)).astype(np.int16)
    if np.max(channel or 0) >= len(samples):
        raise ValueError(f"it has {len(samples)} channels, the detector hears {channel}, numbered from 0")
    return samples[channel or 0]


def windows_of(samples: np.ndarray, length: int) -> list[np.ndarray]:
    """Windows of this length that hold sound; the last one ends with the recording."""
    last = samples.shape[-1] - length
    if last < 0:
        raise ValueError(f"it has {samples.shape[-1]} samples, a window {length}")
    windows = [samples[..., begin : begin + length] for begin in [*range(0, last, length), last]]
    heard = [window for window in windows if np.ptp(window, axis=-1).all()]  # of each microphone
    if not heard:
        raise ValueError("no sound: every sample is the same, is the microphone connected?")
    return heard


def main(model: str, machine: str, *paths: str) -> int:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        about = session.get_modelmeta().custom_metadata_map
        channel = json.loads(about.get("channel", "null"))  # a number, `average`, or two: near and reference microphone
        machines = ["/".join(names) for names in json.loads(about["classes"])]
    except Exception as error:  # onnxruntime has a dozen kinds
        sys.exit(f"{model} is no detector of eval.py export --onnx: {error}")
    if machine not in machines:
        sys.exit(f"{model} knows no machine {machine}: it has {', '.join(machines)}")
    own, scorer = np.array([machines.index(machine)]), json.loads(about["scorers"])[0]  # the first is the primary one
    failed = False
    for path in paths:
        try:
            windows = windows_of(read_wav(path, int(about["sample_rate"]), channel), int(about["window_samples"]))
            outputs = [session.run(["scores", "thresholds"], {"waveform": w[None], "machine": own}) for w in windows]
            score, threshold = np.mean([scores[0] for scores, _ in outputs]), outputs[0][1][0]
            if not np.isfinite(score):
                raise ValueError("its score is not a finite number")
        except (OSError, EOFError, wave.Error, ValueError) as error:
            print(f"{path}: {str(error) or 'it is no WAV'}", file=sys.stderr)
            failed = True
            continue
        decision = "no threshold" if np.isnan(threshold) else "anomaly" if score > threshold else "normal"
        print(f"{path}: {scorer} {score:.5g}, {decision} (threshold {threshold:.5g})")
    return int(failed)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
