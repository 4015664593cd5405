"""What a graph is: types, edges, nodes, graphs, primitives, tensors, printing. It knows no operation."""
