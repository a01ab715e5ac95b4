"""Tables of LLVM functions: shapes of tiles and components over rows, without Numba, called through an index."""

from llvmlite import ir

from .jit import new_part
from .simd import address, suffix

_LIBRARIES = {}


def declare_table(context, module, family, vector, type_, bodies):
    """Constant table of LLVM functions of one type; made once for a family and a vector, linked into what calls it.

    bodies : what writes each function, (function, vector) -> None; None leaves a gap
    """
    name = f"fastmlp_{family}_{suffix(vector)}"
    kind = ir.ArrayType(type_.as_pointer(), len(bodies))
    codegen = context.codegen()
    if (codegen, name) not in _LIBRARIES:
        part = _LIBRARIES[codegen, name] = new_part(codegen, name)
        library = part.create_ir_module(name)
        table = ir.GlobalVariable(library, kind, name)
        table.linkage = "weak_odr"
        table.global_constant = True
        functions = []
        for n, body in enumerate(bodies):
            if body is None:
                functions.append(kind.element(None))
                continue
            function = ir.Function(library, type_, f"{name}_{n}")
            function.linkage = "linkonce_odr"
            for attribute in ("noinline", "nounwind", "optsize"):  # optsize: no unrolling, which gains nothing
                function.attributes.add(attribute)
            body(function, vector)
            functions.append(function)
        table.initializer = ir.Constant(kind, functions)
        part.add_ir_module(library)
    context.active_code_library.add_linking_library(_LIBRARIES[codegen, name])
    return module.globals.get(name) or ir.GlobalVariable(module, kind, name)


def operand(context, builder, kinds, value):
    """[address, stride, ...] of an argument (array, offset, stride, ...)."""
    array, offset, *strides = (builder.extract_value(value, n) for n in range(len(kinds)))
    return [address(context, builder, kinds[0], array, offset), *strides]
