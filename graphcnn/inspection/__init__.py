"""Looking at graphs and models: tables of layers with shapes, parameters and costs; times per kernel."""
