"""The tab that generates new sounds of a class or a mixture, or variations of an uploaded sound."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from generation.app.state import MOST_SEED, NONE, App, checked_sound, shown, sound_input
from generation.sample_options import SampleOptions
from shared.errors import UserError

MOST = 8  # sounds of a request, and sounds made for each one kept
NEURAL = "neural: "  # before the run of a neural vocoder


def generate_tab(app: App) -> None:
    """Build the tab. Its endpoint /generate gives MOST players (empty ones at the end), the figure and a zip."""
    runs, classifiers = app.runs.generators, [*app.runs.classifiers["torch"], NONE]
    first = next(iter(runs))
    with gr.Row():
        with gr.Column(min_width=300):
            run = gr.Dropdown(list(runs), value=first, label="Generator")
            label = gr.Dropdown(
                runs[first].classes,
                value=runs[first].classes[0],
                label="Class or mixture",
                info="A flow generator also takes a mixture: type siren:0.5,dog_bark:0.5",
                allow_custom_value=True,
            )
            with gr.Row():
                count = gr.Slider(1, MOST, value=2, step=1, label="Sounds", min_width=200)
                seed = gr.Number(
                    0,
                    label="Seed",
                    info="Equal seeds give equal sounds",
                    precision=0,
                    minimum=0,
                    maximum=MOST_SEED,
                    min_width=200,
                )
            button = gr.Button("Generate", variant="primary")
        with gr.Column(min_width=300):
            vocoders = ["auto", "griffin-lim", "torchaudio", *(NEURAL + name for name in app.runs.vocoders)]
            vocoder = gr.Dropdown(vocoders, value="auto", label="Vocoder", info="Turns the spectrogram into sound")
            with gr.Row():
                best_of = gr.Slider(
                    1, MOST, value=1, step=1, label="Best of", info="Made for each one kept", min_width=200
                )
                classifier = gr.Dropdown(
                    classifiers, value=classifiers[0], label="Chosen by", info="A PyTorch run", min_width=200
                )
            with gr.Group(visible=runs[first].is_flow) as flow_only:
                guidance = gr.Number(0, label="Guidance", info="Weight of the class, 1 or more; 0 keeps the training's")
                with gr.Accordion("Variation of a sound", open=False):
                    sound = sound_input("Sound to vary")
                    strength = gr.Slider(
                        0, 1, value=0.5, label="Strength", info="0 changes nothing, 1 keeps nothing of the sound"
                    )
    with gr.Row(elem_classes="players"):
        players = [
            gr.Audio(visible=False, interactive=False, type="filepath", buttons=["download"], min_width=300)
            for _ in range(MOST)
        ]
    figure = gr.Image(label="Spectrograms", show_label=False, buttons=["download", "fullscreen"], elem_classes="wide")
    archive = gr.File(label="Downloads", visible=False, interactive=False)

    def show_run(name: str) -> tuple[Any, Any]:
        chosen = runs[name]
        return gr.Dropdown(chosen.classes, value=chosen.classes[0]), gr.Group(visible=chosen.is_flow)

    run.change(show_run, run, [label, flow_only], api_visibility="private", show_progress="hidden")
    inputs = [run, label, count, seed, vocoder, best_of, classifier, guidance, sound, strength]
    button.click(
        partial(generate, app), inputs, [*players, figure, archive], api_name="generate", concurrency_id="models"
    )


def generate(
    app: App,
    run: str,
    label: str,
    count: int,
    seed: int,
    vocoder: str,
    best_of: int,
    classifier: str,
    guidance: float,
    sound: str | None,
    strength: float,
) -> list:
    """Generate sounds of a class, of a mixture, or variations of a sound.

    Returns:
        MOST players, the last ones empty; the figure; a zip of all that was made.

    Raises:
        gr.Error: bad input, or an option that this generator does not have.
    """
    folder, is_flow, given = app.new_folder(), app.runs.generators[run].is_flow, None
    try:
        given = checked_sound(sound) if sound and is_flow else None
        if best_of > 1 and classifier == NONE:
            raise UserError(f"best of {best_of}: needs a classifier that chooses; choose a PyTorch run")
        options = SampleOptions(
            model_dir=Path(run),
            label=(label,),
            count=int(count),
            seed=seed,
            out_dir=folder / "sounds",
            device=app.device,
            guidance=guidance or None if is_flow else None,
            best_of=int(best_of),
            best_of_classifier=Path(classifier) if best_of > 1 else None,
            variation_of=given,
            strength=strength,
            vocoder="neural" if vocoder.startswith(NEURAL) else vocoder,
            vocoder_dir=Path(vocoder.removeprefix(NEURAL)) if vocoder.startswith(NEURAL) else None,
        )
        options.check()
        app.workers["torch"].call("generation.app.generating:generate", options)
    except UserError as error:
        raise shown(error, given) from error
    sounds = sorted(options.out_dir.glob("*.wav"))
    filled = [gr.Audio(str(path), label=path.stem, visible=True) for path in sounds]
    empty = [gr.Audio(None, visible=False)] * (MOST - len(sounds))
    (picture,) = options.out_dir.glob("*.png")
    zipped = shutil.make_archive(str(folder / "sounds"), "zip", options.out_dir)
    return [*filled, *empty, str(picture), gr.File(zipped, visible=True)]
