"""The training libraries kept from talking over what habitus prints, and from calling home."""

from __future__ import annotations

import logging
import os
import warnings


def hush(threads: int) -> None:
    """Silence progress bars and notices, and bound the CPU threads; what matters is printed by habitus."""
    # before any of the libraries is imported, as they read them then
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import datasets
    import torch
    from transformers.utils import logging as transformers_logging

    torch.set_num_threads(threads)
    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    for name in ("trl", "accelerate", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(torch|trl|transformers|accelerate|peft|datasets)(\.|$)")
