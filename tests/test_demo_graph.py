"""The demo `graph`: its numbers, and its tables."""

import pytest

from fastmlp.demo_graph import demonstrate_graph, fruit_bill


def test_values_and_gradients():
    nodes = fruit_bill()
    nodes["bill"].backward()
    assert [float(node.value) for node in nodes.values()] == pytest.approx([100, 2, 150, 3, 1.1, 200, 450, 650, 715])
    gradients = [2.2, 110, 3.3, 165, 650, 1.1, 1.1, 1.1, 1]
    assert [float(node.gradient) for node in nodes.values()] == pytest.approx(gradients)


def test_every_node_stands_in_both_tables(capsys):
    demonstrate_graph()
    text = capsys.readouterr().out
    up, down = text.split("Backward")
    for name in fruit_bill():
        assert f"\n{name:<14}" in up
        assert f"\n{name:<14}" in down
    assert "apples cost        200   apple price × apples" in up
    assert "apple price        2.2   a product swaps: gradient of apples cost 1.1 × value of apples 2" in down
    assert "fruit              650   apples cost + oranges cost" in up
    assert "apples cost        1.1   a sum passes on: gradient of fruit 1.1" in down
    assert text.endswith("with an apple price of 101 the bill is 717.2, 2.2 more.\n")
