"""Looking at graphs: tables of layers with shapes, parameters and costs."""
