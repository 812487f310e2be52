"""Networks with scikit-learn's interface, written in torch."""
