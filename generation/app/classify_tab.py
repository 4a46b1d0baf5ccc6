"""The tab that classifies a sound with a Keras run and a PyTorch run, side by side."""

from functools import partial
from pathlib import Path

import gradio as gr

from classification.inference.options import PredictOptions
from generation.app.classifying import PREDICTIONS
from generation.app.state import MOST_MIB, MOST_MINUTES, NONE, App, checked_sound, shown, sound_input
from shared.errors import AudioError, UserError
from shared.report.run_view import FRAMEWORKS

TOP = 12  # classes shown
Column = tuple[dict[str, float], str, list[str]]  # probabilities, figure, files


def classify_tab(app: App) -> None:
    """Build the tab. Its endpoint /classify gives (probabilities, figure, files) of Keras, then of PyTorch."""
    runs = app.runs.classifiers
    gr.Markdown(f"wav, flac, ogg or mp3, at most {MOST_MIB} MiB and {MOST_MINUTES} minutes")
    with gr.Row():
        with gr.Column(min_width=300):
            sound = sound_input("A sound or a long recording")
        with gr.Column(min_width=300):
            chosen = [
                gr.Dropdown(
                    [*names, NONE], value=names[0] if names else NONE, label=f"{title} run", visible=bool(names)
                )
                for title, names in ((title, runs[framework]) for framework, title in FRAMEWORKS.items())
            ]
            hop = gr.Number(0, label="Hop", info="Seconds from one window to the next; 0 takes half a window")
            button = gr.Button("Classify", variant="primary")
    outputs = []
    with gr.Row():
        for framework, title in FRAMEWORKS.items():
            with gr.Column(min_width=300, visible=bool(runs[framework])):
                outputs += [
                    gr.Label(label=title, num_top_classes=TOP),
                    gr.Image(
                        label=f"{title}: spectrogram and probabilities over time",
                        show_label=False,
                        buttons=["download", "fullscreen"],
                        elem_classes="wide",
                    ),
                    gr.File(label="Downloads", file_count="multiple", interactive=False),
                ]

    button.click(
        partial(classify, app),
        [sound, *chosen, hop],
        outputs,
        api_name="classify",
        concurrency_id="models",
        show_progress_on=outputs[::3],
    )


def classify(app: App, path: str | None, keras: str, torch: str, hop: float) -> list:
    """Classify one sound with each chosen run. A run that cannot answer leaves its column empty, with a warning.

    Raises:
        gr.Error: the sound cannot be used, or no run can answer.
    """
    wanted = {framework: run for framework, run in (("keras", keras), ("torch", torch)) if run != NONE}
    given, found, errors = None, {}, []
    try:
        given = checked_sound(path)
        if not wanted:
            raise UserError("no run: choose a Keras or a PyTorch run")
        for framework, run in wanted.items():
            try:
                found[framework] = column(app, framework, run, given, hop)
            except UserError as error:  # of this run alone, so the other one still answers
                errors.append(error)
        if not found:
            raise errors[0]
    except (AudioError, UserError) as error:
        raise shown(error, given) from error
    for error in errors:
        gr.Warning(str(error), duration=None)
    return [part for framework in FRAMEWORKS for part in found.get(framework, (None, None, None))]


def column(app: App, framework: str, run: str, sound: Path, hop: float) -> Column:
    """The answer of one run.

    Raises:
        AudioError: the sound cannot be used.
        UserError: the run cannot be used, or not with this hop.
    """
    folder = app.new_folder()
    files = {"output": folder / PREDICTIONS, "timeline": folder, "probabilities": True}
    options = PredictOptions(model_dir=Path(run), input=sound, hop=hop or None, device=app.device, **files)
    answer = app.workers[framework].call("generation.app.classifying:classify", options)
    table, figure = answer["files"]
    return answer["probabilities"], figure, [str(options.output), table, figure]
