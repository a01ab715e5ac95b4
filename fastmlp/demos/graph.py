"""The demo `graph`: forward and backward through two products and a sum, node by node."""

from ..graph import Node
from . import Options


def fruit_bill(apple_price: float = 100) -> dict[str, Node]:
    """bill = (apple price × apples + orange price × oranges) × tax, with the nodes' names, inputs before outputs.

    The example of K. Saitoh, "Deep Learning from Scratch" (O'Reilly Japan 2016), section 5.1.
    """
    leaves = {"apple price": apple_price, "apples": 2, "orange price": 150, "oranges": 3, "tax": 1.1}
    nodes = {name: Node(value) for name, value in leaves.items()}
    nodes["apples cost"] = nodes["apple price"] * nodes["apples"]
    nodes["oranges cost"] = nodes["orange price"] * nodes["oranges"]
    nodes["fruit"] = nodes["apples cost"] + nodes["oranges cost"]
    nodes["bill"] = nodes["fruit"] * nodes["tax"]
    return nodes


def demonstrate(options: Options) -> None:
    """Print each node's value on the way up, and its gradient with the rule that gives it on the way down."""
    nodes = fruit_bill()
    names = {node: name for name, node in nodes.items()}
    print("Forward: every node computes its value from its inputs.\n")
    print(f"{'node':<14}{'value':>8}   from")
    for name, node in nodes.items():
        made = f" {node.operation} ".join(names[below] for below in node.inputs)
        print(f"{name:<14}{node.value:>8g}   {made or 'given'}")

    bill = nodes["bill"]
    bill.backward()
    print("\nBackward: every gradient, d bill / d node, is that of the node above times one local derivative.\n")
    print(f"{'node':<14}{'gradient':>8}   rule")
    for name, node in reversed(nodes.items()):
        above = next((above for above in nodes.values() if node in above.inputs), None)
        if above is None:
            rule = "d bill / d bill = 1"
        elif above.operation == "+":
            rule = f"a sum passes on: gradient of {names[above]} {above.gradient:g}"
        else:
            (other,) = (below for below in above.inputs if below is not node)
            factors = f"gradient of {names[above]} {above.gradient:g} × value of {names[other]} {other.value:g}"
            rule = f"a product swaps: {factors}"
        print(f"{name:<14}{node.gradient:>8g}   {rule}")

    dearer = fruit_bill(apple_price=101)["bill"].value
    print(f"\nTo check one: with an apple price of 101 the bill is {dearer:g}, {dearer - bill.value:g} more.")
