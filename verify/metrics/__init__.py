"""From stored predictions to scores: kernels over scikit-learn and scipy, and the bridge to `evaluate`."""
