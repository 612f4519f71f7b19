"""Files of this machine: sources and targets of transfers, journals, codes, the home folder.

Part of ``aio``: it opens no file by a name that somebody else may have changed, and it asks every
question of a disk through ``seam``. Start at ``store_worker`` (the thread that serves a transfer),
``file_source`` and ``file_target``; then at ``private_folder`` (folders of this user alone),
``source_roots`` and ``safe_tree`` (how a file is reached). ``home_folder`` is ``WRAITH_HOME``;
``state_folder`` stands beside the target of an unfinished transfer.
"""
