"""Prompts: what the language model reads around the scene tokens, as text and as token ids.

The order is LEO's: role, scene tokens, then one or several turns of question and answer. Where a
situation or a selected spot belongs to the question, it stands in front of it, as text and as a
special token that carries a point of the room.
Explained in notebook 06 (scene to language).
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from leovl_mini.data.examples import Example

ROLE = "You are an AI visual assistant situated in a 3D room."
SCENE_INTRO = "This is what the room holds:"

STYLES = {  # the text in front of the scene tokens, and a question behind them
    "plain": (f"{ROLE} {SCENE_INTRO}", " USER: {} ASSISTANT:"),
    "chat": (  # the chat template of SmolLM2 and Qwen2.5
        f"<|im_start|>system\n{ROLE}<|im_end|>\n<|im_start|>user\n{SCENE_INTRO}",
        "\n{}<|im_end|>\n<|im_start|>assistant\n",
    ),
}

SPOT = "<SPOT>"  # a selected point
POSE, AHEAD = "<POSE>", "<AHEAD>"  # where the agent stands, and a point 1 m in front of it
OBJECT_TOKENS = [f"<OBJ{i:03d}>" for i in range(100)]  # identifiers of objects (Proxy3D)
HEIGHT_BINS = [f"<{end}{i}>" for end in ("bottom", "top") for i in range(12)]  # see symbols.py
SPECIAL_TOKENS = [*OBJECT_TOKENS, SPOT, POSE, AHEAD, *HEIGHT_BINS]


@dataclass
class Turn:
    """The token ids of a question with its answer. Ids from ``answer_start`` on are the answer and
    its end: they are learned.

    ``places`` maps the index of a token to the point (x, y, z) in metres that is added to it.
    """

    ids: list[int]
    answer_start: int
    places: dict[int, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def is_answer(self) -> list[bool]:
        return [i >= self.answer_start for i in range(len(self.ids))]


def get_style(style: str) -> tuple[str, str]:
    if style not in STYLES:
        raise ValueError(f"unknown prompt style {style!r}; choose one of: {', '.join(STYLES)}")
    return STYLES[style]


def before_scene(style: str = "plain") -> str:
    """The text in front of the scene tokens."""
    return get_style(style)[0]


def question_text(example: Example, style: str = "plain") -> str:
    """Everything between the scene tokens and the answer: situation, selected spot, earlier turns,
    question.
    """
    template = get_style(style)[1]
    text = f" {POSE}{AHEAD} {example.situation}" if example.position is not None else ""
    text += f" {SPOT}" if example.spot is not None else ""
    text += "".join(f"{template.format(q)} {a}" for q, a in example.history)
    return text + template.format(example.question)


def plain_texts(examples: Iterable[Example]) -> Iterator[str]:
    """Every prompt with its answer as text, without special tokens: what nano's tokenizer is
    trained on.
    """
    for example in examples:
        text = f"{before_scene()}{question_text(example)} {example.answers[0]}"
        yield text.replace(POSE, "").replace(AHEAD, "").replace(SPOT, "")


def places_of(example: Example) -> dict[str, tuple[float, float, float]]:
    """The points (x, y, z) in metres that the special tokens of an example stand for."""
    places = {}
    if example.position is not None:
        (x, y, z), heading = example.position, example.heading or 0.0
        places |= {POSE: (x, y, z), AHEAD: (x + math.cos(heading), y + math.sin(heading), z)}
    if example.spot is not None:
        places[SPOT] = tuple(example.spot)
    return places


def encode(
    example: Example,
    tokenizer: PreTrainedTokenizerBase,
    style: str = "plain",
    answer: str | None = "",
) -> Turn:
    """Token ids of the question and of ``answer`` (by default the example's first one; None: a
    question still open).
    """
    ids = tokenizer(question_text(example, style), add_special_tokens=False).input_ids
    named = places_of(example)
    point_of = {tokenizer.convert_tokens_to_ids(name): point for name, point in named.items()}
    places = {i: point_of[token] for i, token in enumerate(ids) if token in point_of}
    start = len(ids)
    if answer is not None:
        text = " " + (answer or example.answers[0])
        ids = ids + tokenizer(text, add_special_tokens=False).input_ids + [tokenizer.eos_token_id]
    return Turn(ids, start, places)
