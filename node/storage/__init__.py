"""What stays on this node's disk: one LevelDB (`leveldb`), the same port in memory (`memory`), the guard's file (`guard_file`).

`overlay` holds what is readable but not yet durable; `folder_lock` keeps a second process away. What the pairs *mean* is not
here: the core names its keys.
"""
