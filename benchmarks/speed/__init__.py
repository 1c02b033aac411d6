"""What the gateway costs beside a bare relay, an echo and other gateways: `python -m benchmarks`. See ../README.md."""
