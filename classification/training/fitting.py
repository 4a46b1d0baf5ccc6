"""One training: fit, keep the best model, evaluate it."""

from classification.inference.together import TRUST, Together
from classification.rundir import LABELS
from classification.training.framework import Framework
from classification.training.inner import choose_weight_decay
from classification.training.inputs import Inputs
from classification.training.scoring import Scored, score
from shared.files import write_json
from shared.runs import ranks
from shared.runs.run import Run


def train_or_read(framework: Framework, inputs: Inputs, run: Run) -> Scored:
    """Train and evaluate in a run folder of its own; if an earlier command finished it, read its results."""
    if ranks.agreed(run.finished):
        print(f"{run.dir} is already done", flush=True)
        run.close()
        return Scored.read(run.dir)
    scored = fit_and_score(framework, inputs, run)
    run.finish(scored.metrics)
    return scored


def fit_and_score(framework: Framework, inputs: Inputs, run: Run) -> Scored:
    """Train one part and evaluate its best model."""
    write_json(run.dir / LABELS, {"classes": inputs.classes, "most_frequent": inputs.most_frequent})
    together = learn_together(inputs, run) if inputs.options.together else None
    if not inputs.options.blend:  # its two trainings choose for themselves
        inputs = choose_weight_decay(framework, inputs, run)
    training = framework.fit(inputs, run) | {"time/startup_seconds": framework.startup}
    predict = framework.load(run.dir, inputs.network, device=inputs.options.device)
    return score(inputs, predict, run, training, together)


def learn_together(inputs: Inputs, run: Run) -> Together | None:
    """Learn to find clips of one recording; None with too few clips, or if clips that sound alike differ in class."""
    train = inputs.splits["train"]
    together = Together.learn(train.features, train.labels)
    if together is None:
        return None
    trusted = together.trust >= TRUST
    share = f"{together.trust:.1%} of the pairs of training clips that sound alike share a class"
    consequence = "predictions of test clips that sound alike are averaged" if trusted else "no averaging of test clips"
    print(f"{share}: {consequence}", flush=True)
    if trusted:
        together.save(run.dir)
    return together if trusted else None
