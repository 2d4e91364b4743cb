"""Trained weights as a folder, in the form of the Hugging Face hub: ``model.safetensors``
(bfloat16), ``config.json`` (what they belong to, how they were made) and ``README.md`` (the model
card).

Explained in notebook 07 (fine-tuning).
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import ModelCardData, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from leovl_mini.config import get_preset
from leovl_mini.data.files import atomic_write, write_json
from leovl_mini.data.samples import samples_folder
from leovl_mini.scans.scene import InputError

if TYPE_CHECKING:
    from leovl_mini.model.leovl import LeoVL

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
KEYS = {"preset", "channels", "tokens", "lora", "belongs to", "made"}  # a config.json has these
RENAMED = {"echo": "token_shift", "volume": "scene_scale"}  # tensors of older files


# -- what a file holds -----------------------------------------------------------------------------


def weights_of(model: "LeoVL") -> dict[str, Tensor]:
    """What a file must hold: all weights once (input and output embeddings may be one table); of a
    model with LoRA, all but the frozen language model that the preset gives.
    """
    weights = {k: v.detach().contiguous() for k, v in model.state_dict().items()}
    language = model.language
    if language.get_output_embeddings().weight is language.get_input_embeddings().weight:
        weights = {k: v for k, v in weights.items() if not k.endswith("lm_head.weight")}
    if model.lora and model.is_original:
        frozen = [k for k in weights if k.startswith("language.") and ".lora_" not in k]
        weights = {k: v for k, v in weights.items() if k not in frozen}
    return weights


def fill(model: "LeoVL", tensors: dict[str, Tensor], file: Path) -> None:
    """Put the tensors of ``file`` into a model; both must have the same names and shapes, or an
    ``InputError`` names some that differ. Older weights of nano have no token shift; the model then
    has none either.
    """
    tensors = {
        RENAMED.get(k, k).replace("representation.", "position."): v for k, v in tensors.items()
    }
    wanted = {k: v for k, v in weights_of(model).items() if k in tensors or k != "token_shift"}
    wrong = set(wanted) ^ set(tensors)
    wrong |= {k for k in set(wanted) & set(tensors) if wanted[k].shape != tensors[k].shape}
    if wrong:
        raise InputError(
            f"{file} does not fit this model ({len(wrong)} tensors differ, such as "
            f"{', '.join(sorted(wrong)[:3])}); is it older?"
        )
    if "token_shift" not in tensors:
        model.token_shift = None
    model.load_state_dict(tensors, strict=False)


def belongs_to(model: "LeoVL") -> dict[str, str]:
    """What weights are of no use without: the encoder, the settings of the tokens, the tokenizer
    (by SHA-256), and of an adapter its language model.
    """
    settings, kind = get_preset(model.preset), model.representation.kind
    words = json.dumps(sorted(model.tokenizer.get_vocab().items())).encode()
    needs = {
        "encoder": f"{settings.encoder} at {settings.longest_side} pixels",
        "token settings": json.dumps(settings.options(kind), sort_keys=True),
        "tokenizer": hashlib.sha256(words).hexdigest(),
    }
    if model.lora:
        needs["lora base"] = settings.language if model.is_original else "in this file"
    return needs


def config_of(model: "LeoVL") -> dict:
    """The content of ``config.json``: the arguments of ``LeoVL``, and what else must be known."""
    return {
        "preset": model.preset,
        "channels": model.channels,
        "tokens": model.representation.kind,
        "hidden_dim": model.projector[1].out_features,
        "lora": model.lora,
        "belongs to": belongs_to(model),
        "made": model.made,
    }


# -- writing ---------------------------------------------------------------------------------------


def save(model: "LeoVL", folder: Path) -> None:
    """Write a model to a folder; its files appear when all of them are complete."""
    config = config_of(model)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder) as partial:
        save_file({k: v.bfloat16() for k, v in weights_of(model).items()}, partial / WEIGHTS)
        write_json(partial / CONFIG, config)
        (partial / CARD).write_text(card(config, folder.name), encoding="utf-8")


def card(config: dict, name: str, about: str = "", tables: tuple[str, ...] = ()) -> str:
    """The model card: the hub's header, what the weights are for, how they were made, their scores
    (``tables`` in Markdown).
    """
    settings = get_preset(config["preset"])
    base = None if settings.language == "nano" else settings.language
    header = ModelCardData(
        license="mit",
        library_name="leovl-mini",
        pipeline_tag="visual-question-answering",
        tags=["3d", "rgb-d", "vision-language", config["tokens"]],
        base_model=base,
    )
    rows = {"preset": config["preset"], "tokens": config["tokens"], **config["belongs to"]}
    rows |= {"lora": config["lora"]} if config["lora"] else {}
    rows |= {k: v for k, v in config["made"].items() if not isinstance(v, dict | list)}
    table = ["| what | value |", "| --- | ---: |", *(f"| {k} | `{v}` |" for k, v in rows.items())]
    parts = [
        f"---\n{header.to_yaml()}\n---",
        f"# {name}",
        about,
        "How it was made, and what it belongs to:",
        "\n".join(table),
        *tables,
        f"Use: `LeoVL.from_pretrained({name!r})` of the package leovl_mini.",
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


# -- reading ---------------------------------------------------------------------------------------


def is_shipped(name: str | Path) -> bool:
    """Whether weights of this name travel with the package."""
    return (samples_folder() / "weights" / name / CONFIG).is_file()


def find(name_or_path: str | Path, **hub_options) -> Path:
    """The folder (or older single file) behind a path, a name that travels with the package, or the
    name of a model on the hub, which is downloaded.
    """
    path, shipped = Path(name_or_path), samples_folder() / "weights"
    if path.exists():
        return path
    if is_shipped(name_or_path):
        return shipped / name_or_path
    names = ", ".join(sorted(p.parent.name for p in shipped.glob(f"*/{CONFIG}")))
    advice = f"name a folder of trained weights, or one of: {names}"
    if str(name_or_path).count("/") != 1 or path.suffix == ".safetensors":
        raise InputError(f"there are no weights {str(name_or_path)!r}; {advice}")
    try:
        files = [WEIGHTS, CONFIG, CARD]
        return Path(snapshot_download(str(name_or_path), allow_patterns=files, **hub_options))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{name_or_path} is neither here nor can it be had from the hub ({reason}); {advice}"
        ) from None


def load(cls: type["LeoVL"], path: Path) -> "LeoVL":
    """The trained model of a folder or file. ``InputError`` where tokenizer, encoder or token
    settings are no longer those that the weights belong to.
    """
    file = path / WEIGHTS if path.is_dir() else path
    about = read_config(path)
    try:
        tensors = load_file(file)
    except (SafetensorError, FileNotFoundError) as error:
        raise InputError(f"{file} is missing, damaged or no safetensors file ({error})") from None
    model = cls(
        about["preset"],
        int(about["channels"]),
        tokens=about["tokens"],
        hidden_dim=int(about.get("hidden_dim") or len(tensors.get("projector.1.bias", ()))),
    )
    needs = about["belongs to"]
    if rank := int(about["lora"]):
        from leovl_mini.model.lora import add_lora  # peft takes a second to import

        model.is_original = model.is_original and needs.get("lora base") != "in this file"
        add_lora(model, rank)
    changed = [k for k, v in belongs_to(model).items() if needs.get(k) != v]
    if changed:
        raise InputError(
            f"{path} was trained with another {', '.join(changed)}; "
            "train again, or use the version it came with"
        )
    fill(model, {k: v.float() for k, v in tensors.items()}, file)
    model.trained, model.made = True, about["made"]
    return model


def read_config(path: Path) -> dict:
    """What ``config.json`` of a folder says; older single files say the same inside."""
    if path.is_dir():
        try:
            config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            raise InputError(
                f"{path} holds no trained weights: {CONFIG} is missing or no JSON"
            ) from None
        if not (isinstance(config, dict) and set(config) >= KEYS):
            raise InputError(f"{path / CONFIG} was not written by leovl-mini; name another folder")
        return config
    try:
        with safe_open(path, "pt") as opened:
            inside = opened.metadata() or {}
    except SafetensorError as error:
        raise InputError(f"{path} is damaged or no safetensors file ({error})") from None
    if not {"preset", "tokens", "channels"} <= set(inside):
        raise InputError(
            f"{path} does not say what it belongs to; it was not written by leovl-mini train"
        )
    made = {k.removeprefix("note "): v for k, v in inside.items() if k.startswith("note ")}
    return {"lora": 0, **inside, "belongs to": inside, "made": made}
