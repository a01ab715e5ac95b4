"""Files of Python source that are loaded by their place."""

import importlib.util


def module_of(path, name=None):
    """A new module made from a file, under a name, by default the file's; `sys.modules` does not know it."""
    specification = importlib.util.spec_from_file_location(name or path.stem, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
