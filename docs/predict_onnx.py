"""Predict sounds with an exported model, without this project: python predict_onnx.py model.onnx dog.wav siren.flac"""

import json
import sys

import numpy as np
import onnxruntime
import soundfile as sf

session = onnxruntime.InferenceSession(sys.argv[1])
about = session.get_modelmeta().custom_metadata_map
classes, sr = json.loads(about["classes"]), json.loads(about["waveform"])["sr"]
for path in sys.argv[2:]:
    y, file_sr = sf.read(path, dtype="float32", always_2d=True)  # (N, channels)
    if file_sr != sr:
        sys.exit(f"{path}: has {file_sr} Hz; resample it to {sr} Hz, for example with soxr.resample")
    p, embedding = session.run(["probabilities", "embedding"], {"waveform": y.mean(axis=1)[None]})
    best = np.argsort(-p[0])[:3]
    print(path, *(f"{classes[k]} {p[0, k]:.4f}" for k in best), sep="  ")
