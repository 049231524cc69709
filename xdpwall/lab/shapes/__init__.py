# SPDX-License-Identifier: Apache-2.0
"""What the packets of an attack look like: pure data, from which ``xdpwall.lab.storm`` makes templates."""
