# SPDX-License-Identifier: Apache-2.0
"""The controller: the tick, the life of a ban, the database, the control socket."""
