"""Training of a classifier in Keras: fit(inputs, run). It imports only the chosen backend."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from classification.inference.keras_model import ON_TENSORFLOW, keras, load_model, use_device  # it sets the backend
from classification.models.architecture import Network
from classification.models.keras_cnn import build
from classification.models.weights import initial_weight, tensor_names, to_keras, to_torch
from classification.recipes import TrainOptions
from classification.rundir import H5_MODEL, KERAS_MODEL
from classification.training.devices import mirrored, validate_on_one
from classification.training.inputs import Inputs
from shared.errors import UserError
from shared.features.batches import Batches
from shared.files import naming_full_disk, replacing
from shared.runs.memory import keep_freed_memory
from shared.runs.progress import Progress
from shared.runs.run import Run
from shared.runs.timing import EpochTimer

_LOGGED = {"train/loss": "loss", "train/accuracy": "accuracy", "val/loss": "val_loss", "val/accuracy": "val_accuracy"}
# attributes of the callbacks that a checkpoint keeps
_STATE = ("best", "wait", "cooldown_counter", "best_epoch", "stopped_epoch")


def fit(inputs: Inputs, run: Run) -> dict[str, float]:
    """Train or resume until the last epoch, or until val/loss stalls. The best model is then in the run folder.

    Returns:
        further entries of metrics.json.
    """
    options, optimiser = inputs.options, inputs.options.optimiser
    use_device(options.device, deterministic=options.deterministic)
    keep_freed_memory()
    scope, devices = mirrored(options.device, options.devices), options.devices
    keras.backend.clear_session()
    keras.utils.set_random_seed(options.seed)
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if options.precision == "bfloat16" else "float32")
    train = BatchSequence(inputs.splits["train"], devices=devices)
    val = BatchSequence(inputs.splits["val"]) if "val" in inputs.splits else None
    arguments = inputs.network.arguments | {"statistics": inputs.statistics()}
    with scope:
        trainee = build(**arguments, training=True, synchronised=devices > 1)
        set_initial_weights(trainee, inputs.network, seed=options.seed)
        trainee.compile(
            optimizer=keras.optimizers.AdamW(_learning_rate(options, len(train)), weight_decay=optimiser.weight_decay),
            **_scored(),
        )
        trainee.optimizer.build(trainee.trainable_variables)  # else the step is traced twice: 10 s more for strong
    if devices > 1:
        validate_on_one(trainee, **_scored())
    model = build(**arguments)
    plateau = optimiser.schedule == "plateau"
    callbacks: list[keras.callbacks.Callback] = [BestModel(run.dir / KERAS_MODEL, model, monitored=plateau)]
    if plateau:
        callbacks += [  # both watch val_loss
            keras.callbacks.ReduceLROnPlateau(
                factor=optimiser.plateau_factor, patience=optimiser.plateau_patience, min_lr=optimiser.min_learning_rate
            ),
            keras.callbacks.EarlyStopping(patience=optimiser.stop_patience),
        ]
    log = RunLog(run, train, callbacks)
    first = log.state["epoch"] + 1
    with Progress(options.epochs, len(train), first=first) as log.progress:
        if first < options.epochs and not log.state["stop"]:
            trainee.fit(
                fed(train),
                validation_data=val and fed(val),
                epochs=options.epochs,
                initial_epoch=first,
                shuffle=False,  # the batches shuffle themselves
                callbacks=[Finite(train), *callbacks, log],
                verbose=0,
            )
        if log.state["stop"]:
            reason = f"val/loss has not improved for {optimiser.stop_patience} epochs"
            log.progress.stop(log.state["epoch"] + 1, reason)
    best = load_model(run.dir)
    logging.getLogger("absl").setLevel(logging.ERROR)  # it warns that .h5 is a legacy format
    with replacing(run.dir / H5_MODEL) as temporary:
        best.save(temporary)
    return {"model/parameters": model.count_params()}


def set_initial_weights(model: keras.Model, network: Network, *, seed: int) -> None:
    """Give the model the initial weights of this seed; the PyTorch network gets the same."""
    rng = np.random.default_rng(seed)
    for layer, names in tensor_names(network):
        weights = zip(names, model.get_layer(layer).get_weights(), strict=True)
        drawn = [(name, initial_weight(name, to_torch(w, name, network).shape, network, rng)) for name, w in weights]
        model.get_layer(layer).set_weights([to_keras(weight, name, network) for name, weight in drawn])


def _learning_rate(options: TrainOptions, steps_per_epoch: int) -> float | keras.optimizers.schedules.CosineDecay:
    optimiser = options.optimiser
    if optimiser.schedule == "plateau":
        return optimiser.learning_rate
    steps = options.epochs * steps_per_epoch
    warm = int(optimiser.warmup * steps)
    first, highest = (0.0, optimiser.learning_rate) if warm else (optimiser.learning_rate, None)
    return keras.optimizers.schedules.CosineDecay(first, max(1, steps - warm), warmup_target=highest, warmup_steps=warm)


def member_cross_entropy(y: Any, logits: Any) -> Any:
    """Loss of each ensemble member: soft labels y (B, K), logits (B, R, K) -> (B, R)."""
    return -keras.ops.sum(y[:, None] * keras.ops.log_softmax(keras.ops.cast(logits, "float32"), axis=2), axis=2)


def member_accuracy(y: Any, logits: Any) -> Any:
    """1 where an ensemble member predicts the class of the largest label, else 0: (B, R)."""
    right = keras.ops.argmax(logits, axis=2) == keras.ops.argmax(y, axis=1)[:, None]
    return keras.ops.cast(right, "float32")


def _scored() -> dict[str, Any]:
    """The loss and the metrics of a model that outputs every member's logits."""
    accuracy = keras.metrics.MeanMetricWrapper(member_accuracy, name="accuracy")
    return {"loss": member_cross_entropy, "metrics": [accuracy]}


class BatchSequence(keras.utils.PyDataset):
    """Batches as Keras takes them: x (B, M, T, 1), y (B,) or (B, K). RunLog sets ``epoch`` before each epoch.

    Args:
        devices: each batch has a multiple of this number of clips; the last clips of an epoch may be left out.
    """

    def __init__(self, batches: Batches, *, devices: int = 1) -> None:
        super().__init__()
        self.batches, self.epoch = batches, 0
        self.clips = batches.clips - batches.clips % devices
        if not self.clips:
            raise UserError(f"--devices {devices}: too many for {batches.clips} training clips; use fewer")

    def __len__(self) -> int:
        return -(-self.clips // self.batches.batch_size)

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = self.batches.get(self.epoch, step)
        left = self.clips - step * self.batches.batch_size
        return x[:left, ..., None], y[:left]


def fed(sequence: BatchSequence) -> Any:
    """The same batches for ``model.fit``, in TensorFlow without the tuner of tf.data.

    Keras leaves the tuner on. Its thread sleeps for 10, 20, 40 ms and so on, and an epoch often ends only when the
    thread wakes up, after up to twice the time.
    """
    if not ON_TENSORFLOW:
        return sequence
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    signature = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in sequence[0])
    batches = tf.data.Dataset.from_generator(
        lambda: (sequence[step] for step in range(len(sequence))), output_signature=signature
    )
    batches = batches.apply(tf.data.experimental.assert_cardinality(len(sequence)))
    return batches.prefetch(2).with_options(options)


class Finite(keras.callbacks.Callback):
    """Ends the training after an epoch in which the loss of a step was not finite, before its model is kept."""

    def __init__(self, train: BatchSequence) -> None:
        super().__init__()
        self.train, self.losses = train, []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.losses = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        self.losses.append(logs["loss"])  # the mean of the epoch so far; looked at only after the epoch

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.train.batches.refuse_divergence([bool(np.isfinite(float(loss))) for loss in self.losses], epoch)


class BestModel(keras.callbacks.ModelCheckpoint):
    """ModelCheckpoint that writes a better model to a new file first, so that the best model is never lost.

    Args:
        kept: the model to write; it gets the weights of the trained model.
        monitored: keep the model with the best val_accuracy; if false, keep the last one.
    """

    def __init__(self, path: Path, kept: keras.Model, *, monitored: bool) -> None:
        self.path, self.new, self.kept = path, path.with_name(f".new-{path.name}"), kept
        super().__init__(str(self.new), monitor="val_accuracy", mode="max", save_best_only=monitored)

    def _save_model(self, *args: Any, **kwargs: Any) -> None:
        self.kept.set_weights(self._model.get_weights())
        trainee, self._model = self._model, self.kept
        try:
            with naming_full_disk(self.path):
                super()._save_model(*args, **kwargs)
        finally:
            self._model = trainee
        if self.new.exists():  # only when val_accuracy improved
            with self.new.open("rb+") as file:
                os.fsync(file.fileno())
            self.new.replace(self.path)


class RunLog(keras.callbacks.Callback):
    """Writes each epoch's metrics, and a checkpoint from which training resumes exactly, to the run folder.

    The checkpoint holds weights, optimiser, dropout seeds and the counters of the other callbacks. Keras resets these
    when training begins, so this callback must be the last in the list to restore them.
    """

    progress: Progress

    def __init__(self, run: Run, train: BatchSequence, others: list[keras.callbacks.Callback]) -> None:
        super().__init__()
        self.run, self.train, self.others = run, train, others
        self.file = run.checkpoints / "training_state.npz"
        self.timer = EpochTimer(train.batches.clips)
        self.state, self.arrays = {"epoch": -1, "stop": False}, {}
        if self.file.exists():
            try:
                with np.load(self.file, allow_pickle=False) as saved:
                    self.arrays = dict(saved)
                self.state = json.loads(str(self.arrays.pop("state")))
            except Exception as error:  # numpy raises many types for a damaged file
                reason = f"cannot resume ({type(error).__name__}: {error}); the file is damaged"
                raise UserError(f"{self.file}: {reason}. Start the training again with --overwrite") from error

    def on_train_begin(self, logs: dict | None = None) -> None:
        if self.arrays:
            for i, variable in enumerate(self._variables()):
                variable.assign(self.arrays.pop(f"variable_{i}"))
            for callback, saved in zip(self.others, self.state["callbacks"], strict=True):
                vars(callback).update(saved)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.progress.batch()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.train.epoch = epoch
        self.timer.start()

    def on_test_begin(self, logs: dict | None = None) -> None:
        self.timer.stop()  # the epoch's time leaves out the validation

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        # With cosine the optimiser already has the next step's rate; with plateau the callback logged this epoch's.
        rate = logs.get("learning_rate", keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        figures = {name: logs[key] for name, key in _LOGGED.items() if key in logs}
        self.run.log(epoch, figures | {"optim/learning_rate": float(rate)} | self.timer.metrics())
        self.state = {
            "epoch": epoch,
            "stop": bool(self.model.stop_training),
            "callbacks": [{k: v for k, v in vars(c).items() if k in _STATE} for c in self.others],
        }
        arrays = {f"variable_{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(self._variables())}
        with replacing(self.file) as temporary:
            np.savez(temporary, state=np.array(json.dumps(self.state, default=float)), **arrays)
        self.progress.epoch(epoch, figures)

    def _variables(self) -> list[keras.Variable]:
        seeds = [v for v in self.model.variables if "seed_generator" in v.path]  # model.weights does not include them
        return [*self.model.weights, *seeds, *self.model.optimizer.variables]
