"""Every benchmark and mixture: importing this package registers them.

It imports neither SeqIO nor TensorFlow. SeqIO programs call
``xlt_jax.data.builder.register_all(vocabulary)`` afterwards.
"""

import importlib
import pkgutil

# Mixtures last: they ask for the benchmarks that there are.
_names = [_module.name for _module in pkgutil.walk_packages(__path__, prefix=f"{__name__}.")]
for _name in sorted(_names, key=lambda name: name == f"{__name__}.mixtures"):
    importlib.import_module(_name)
