"""Every benchmark and mixture: importing this package registers them.

It imports neither SeqIO nor TensorFlow. SeqIO programs call
``xlt_jax.data.builder.register_all(vocabulary)`` afterwards.
"""

import importlib
import pkgutil

for _module in pkgutil.walk_packages(__path__, prefix=f"{__name__}."):
    importlib.import_module(_module.name)
