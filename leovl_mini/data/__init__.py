"""What is asked about a scene? Examples, benchmarks, bundled samples; and how files are written."""

from leovl_mini.data.examples import TASKS, Example, SceneSource, load_examples
from leovl_mini.data.samples import sample_room, samples_folder

__all__ = ["TASKS", "Example", "SceneSource", "load_examples", "sample_room", "samples_folder"]
