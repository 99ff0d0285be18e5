"""Between devices and digital numbers: wires, phases, ranges, and what corrects them."""
