"""All that is not public in Numba and that kernels rest on; imported when something must be compiled.

Seen to work with Numba 0.62 to 0.68 (see tests/machine/test_numba_internals.py, which looks at each item).

- `CPUDispatcher`, its `get_call_template`: one compiled form of a function, whichever of its arguments are known.
- `Compiler.compile_extra`, `state.library`: functions become parts of others, for another processor.
- `JITCodeLibrary` and its `add_ir_module`, `finalize`, `_get_module_for_linking`, `_linking_libraries`,
  `_optimize_final_module`; `JITCPUCodegen._library_class`: parts are linked, optimized and turned into machine code
  where they end up, once.
- `Compiler.define_pipelines`, `PassManager.passes` and three of its passes: without them a first fit takes less time.
- `JITCPUCodegen._init`, `BaseContext.subtarget`: LLVM code for a level in place of this processor.
- `_numba_type_`: the type of an object that Numba does not know.
- `global_compiler_lock._lock`, `CallStack._lock`, `CallStack._stack`: made anew in a forked child.
"""

import contextlib
import threading

import llvmlite.binding
import numba
from llvmlite import ir
from numba import njit
from numba.core import cgutils, config, types
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher, cpu_target
from numba.core.typed_passes import InlineOverloads, NopythonRewrites
from numba.core.untyped_passes import InlineClosureLikes
from numba.extending import intrinsic

from .jit import FASTMATH
from .target import TARGET

OLDEST = (0, 62)


def check_version(version):
    """Refuse a version of Numba that is known not to work.

    Raises
    ------
    ImportError
    """
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ImportError(
            f"fastmlp needs numba {oldest} or newer to compile its kernels; this is {version}. "
            f"Run: pip install 'numba>={oldest}'"
        )


check_version(numba.__version__)

OPTIONS = {
    "nogil": True,
    "fastmath": FASTMATH,
    "error_model": "numpy",
    "boundscheck": False,
    "_nrt": False,
    "no_cfunc_wrapper": True,
}


class _Environments:
    """Numba's code generator for functions that have no Python environment: they neither raise nor call Python."""

    def __init__(self, codegen):
        self._codegen = codegen

    def __getattr__(self, name):
        return getattr(self._codegen, name)

    def set_env(self, name, environment):
        """Nothing to set."""


class _Part(JITCodeLibrary):
    """LLVM code that only lives inside other code: optimized and turned into machine code there, once.

    Numba does both for every function, and links into each all that it calls, so that what lies deep in a tree of calls
    is copied on every level of it. Here a part is text and the parts that it asks for, until something whole is made.
    """

    def __init__(self, codegen, name):
        super().__init__(codegen, name)
        self._texts = []

    @property
    def codegen(self):
        return _Environments(self._codegen)

    def get_pointer_to_function(self, name):
        return 0

    def add_ir_module(self, ir_module):
        self._raise_if_finalized()
        self._texts.append(cgutils.normalize_ir_text(str(ir_module)))

    def finalize(self):
        self._finalized = True

    def _get_module_for_linking(self):
        """All of it, for code that Numba compiles: made once, and in each that takes it the same."""
        if self._shared_module is None:
            _link_texts(self._final_module, [self])
            for function in self._final_module.functions:
                if not function.is_declaration and function.linkage == llvmlite.binding.Linkage.external:
                    function.linkage = "linkonce_odr"
            self._shared_module = self._final_module
        return self._shared_module


def _link_texts(module, libraries):
    """Link the code of some parts, and of all the parts that they ask for, into a module, each once."""
    seen, waiting = set(), list(reversed(libraries))
    while waiting:
        library = waiting.pop()
        if library in seen:
            continue
        seen.add(library)
        if not isinstance(library, _Part):  # of Numba's own, for code that it compiles
            module.link_in(library._get_module_for_linking(), preserve=True)
            continue
        waiting += reversed(library._linking_libraries)
        for text in library._texts:
            module.link_in(llvmlite.binding.parse_assembly(text))


class _Whole(JITCodeLibrary):
    """LLVM code that becomes an object file: optimized with all that it calls."""

    def finalize(self):
        """Link the parts, and optimize them: all but the one function is nobody else's business and may go."""
        module = self._final_module
        _link_texts(module, self._linking_libraries)
        module.data_layout = self._codegen._data_layout
        for thing in (*module.functions, *module.global_variables):
            if not thing.is_declaration and thing.name != self.name:
                thing.linkage = "internal"
        self._optimize_final_module()
        module.verify()
        self._finalized = True

    def object_code(self):
        """The bytes of the object file, and the symbols that it asks for."""
        self._ensure_finalized()
        code = self._codegen._tm.emit_object(self._final_module)
        wanted = {f.name for f in self._final_module.functions if f.is_declaration and not f.name.startswith("llvm.")}
        return code, wanted


class _TargetCodegen(JITCPUCodegen):
    """Numba's code generator for `TARGET`, whose code is not run in this process."""

    _library_class = _Part

    def _init(self, llvm_module):
        if not TARGET.is_own_architecture():
            llvmlite.binding.initialize_all_targets()
            llvmlite.binding.initialize_all_asmprinters()
        options = {"opt": config.OPT}
        self._tm_features = TARGET.features
        self._customize_tm_options(options)
        options["cpu"] = TARGET.cpu
        if TARGET.architecture == "aarch64":
            options["reloc"] = "default"  # "static" is for x86
        self._tm = llvmlite.binding.Target.from_triple(TARGET.triple).create_target_machine(**options)
        self._target_data = self._tm.target_data
        self._data_layout = str(self._target_data)
        self._loopvect, self._opt_level = False, 0  # the first of two rounds of optimizations

    def _create_empty_module(self, name):
        module = super()._create_empty_module(name)
        module.triple = TARGET.triple
        return module

    def _get_host_cpu_name(self):
        return TARGET.cpu

    def _get_host_cpu_features(self):
        return TARGET.features


# Closures, overloads that are inlined before lowering, expressions of arrays.
NEEDLESS_PASSES = {InlineClosureLikes, InlineOverloads, NopythonRewrites}

_target_context = None
_compiling = None  # the thread that makes code for TARGET; it holds the compiler's lock


def _context():
    """Numba's target context for `TARGET`."""
    global _target_context
    if _target_context is None:
        host = cpu_target.target_context
        _target_context = host.subtarget(_internal_codegen=_TargetCodegen("fastmlp"))
    return _target_context


def target_in_use():
    """The target context that is being compiled for: TARGET's, or Numba's own where its `njit` compiles a caller."""
    return _context() if _compiling == threading.get_ident() else cpu_target.target_context


def part(codegen, name):
    """A library of LLVM code to be linked into others."""
    return _Part(codegen, name)


class _PartCompiler(Compiler):
    """Numba's compiler, into a `_Part`, for the target in use."""

    def __init__(self, typing_context, target_context, *others):
        super().__init__(typing_context, target_in_use(), *others)

    def define_pipelines(self):
        """Numba's own passes but for those that kernels have no use of, and that take time all the same."""
        (pipeline,) = super().define_pipelines()
        pipeline.passes = [step for step in pipeline.passes if step[0] not in NEEDLESS_PASSES]
        return [pipeline]

    def compile_extra(self, func):
        self.state.library = part(self.state.targetctx.codegen(), func.__qualname__)
        return super().compile_extra(func)


@contextlib.contextmanager
def _jit_enabled():
    """Let `njit` compile even where NUMBA_DISABLE_JIT is set: kernels have no meaning in Python."""
    before, config.DISABLE_JIT = config.DISABLE_JIT, 0
    try:
        yield
    finally:
        config.DISABLE_JIT = before


class _PartDispatcher(CPUDispatcher):
    """Numba's dispatcher, for which a number that is known is of no other type than one that is not.

    Numba would compile a function once more for each such argument, as for the 0 that a variable of a loop begins with.
    LLVM sees the numbers all the same.
    """

    def get_call_template(self, args, kws):
        return super().get_call_template(tuple(map(types.unliteral, args)), kws)


def part_dispatcher(function):
    """Numba's dispatcher of a function that is compiled into whatever calls it."""
    options = {"nopython": True, "no_cpython_wrapper": True, "forceinline": True, **OPTIONS}
    return _PartDispatcher(function, targetoptions=options, pipeline_class=_PartCompiler)


def callable_from_compiled(function):
    """A function that a user's compiled code calls."""
    with _jit_enabled():
        return njit(nogil=True)(function)


def intrinsic_type(function):
    """Numba's type of an intrinsic."""
    known = intrinsic(function)
    refresh()
    return cpu_target.typing_context.resolve_value_type(known)


def refresh():
    """Let Numba see what has been registered since it last looked."""
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()


def object_code(function, kinds, symbol, constants):
    """Compile a function for `TARGET` into an object file with one symbol, a C function of 64-bit integers.

    It returns what the function does, where that is a whole number or a truth value; else 0.

    Parameters
    ----------
    function : of plain Python
    kinds : Numba types of its arguments
    symbol : name of the C function
    constants : {position: number} of the arguments that the C function does not take

    Returns
    -------
    code : bytes
    wanted : set of symbols of the C library that it calls
    """
    global _compiling
    with global_compiler_lock:
        _compiling = threading.get_ident()
        try:
            with _jit_enabled():  # Numba's own functions of NumPy are compiled only when something calls them
                dispatcher = part_dispatcher(function)
                dispatcher.compile(tuple(kinds))
            compiled = dispatcher.overloads[tuple(kinds)]
            return _export(compiled, symbol, constants)
        finally:
            _compiling = None


def object_code_of(write, symbol):
    """Compile LLVM code for `TARGET` into an object file; `write` puts a function of that name into a module."""
    with global_compiler_lock:
        library = _Whole(_context().codegen(), symbol)
        module = library.create_ir_module(symbol)
        write(module)
        library.add_ir_module(module)
        library.finalize()
        return library.object_code()[0]


def _export(compiled, symbol, constants):
    """The object file of a compiled function behind a C function."""
    context = _context()
    library = _Whole(context.codegen(), symbol)
    module = library.create_ir_module(symbol)
    kinds = compiled.signature.args
    given = [n for n in range(len(kinds)) if n not in constants]
    integer = ir.IntType(64)
    wrapper = ir.Function(module, ir.FunctionType(integer, [integer] * len(given)), symbol)
    builder = ir.IRBuilder(wrapper.append_basic_block())
    values = dict(zip(given, wrapper.args, strict=True))
    for n, number in constants.items():
        values[n] = context.get_constant(kinds[n], number)
    callee = context.declare_function(module, compiled.fndesc)
    result = compiled.signature.return_type
    _, value = context.call_conv.call_function(builder, callee, result, kinds, [values[n] for n in range(len(kinds))])
    number = isinstance(result, types.Integer | types.Boolean)
    builder.ret(context.cast(builder, value, result, types.int64) if number else integer(0))
    library.add_ir_module(module)
    library.add_linking_library(compiled.library)
    library.finalize()
    return library.object_code()


def renew_locks():
    """In a forked child: locks that other threads of the parent held, which are not here to release them."""
    global _compiling
    if not global_compiler_lock.is_locked():  # else this very thread holds it
        global_compiler_lock._lock = threading.RLock()
        stack = getattr(cpu_target.typing_context, "callstack", None)
        if stack is not None:
            stack._lock = threading.RLock()
            stack._stack.clear()
        _compiling = None
