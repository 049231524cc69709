# SPDX-License-Identifier: Apache-2.0
"""A network of namespaces in which the real wall stands between a real server and a real flood.

The lab drives the wall from outside, as its users do: by the command line and the control socket.
"""
