"""Uploads that resume, by the tus protocol 1.0.

Theory of operation
===================

``protocol.py`` knows the protocol and neither Flask nor any I/O: it reads fields and
raises :class:`~.upload.RefusedRequest`. ``endpoint.py`` ties it to Flask. A *place*
is where the bytes of an unfinished upload wait: ``folder.py`` on a disk, ``s3.py`` as
parts in S3. The same tests hold for all places.

An upload is one of these:

===========  ======================================  ==================================
state        what there is                           who moves it on
===========  ======================================  ==================================
receiving    a record, and fewer bytes than          PATCH appends where the upload
             ``Upload-Length``                       ends, and nowhere else
complete     a record and all bytes, no file         whoever touches it next: the PATCH
                                                     that completed it, or any HEAD
finished     a record that names the file            nobody; HEAD answers for it until
                                                     it expires
gone         nothing                                 DELETE, the sweep, or a refusal by
                                                     the accept hook
===========  ======================================  ==================================

What is promised, and why it holds:

*   **The offset is true.** It is the size of what is there, asked of the disk or of S3
    each time. No second number can disagree with it after a crash.
*   **Two requests never interleave.** Each block is appended under a lock that checks
    the size first; whoever comes second sees a larger file and is answered 409. No
    lock outlives a block, so a connection that died locks nobody out.
*   **A cut body is kept, and is not the end.** Servers end a cut body as they end a
    whole one; only the length that was declared tells when an upload is complete.
*   **A finished upload is an ordinary file.** It goes through ``save`` like any other,
    with the accept hook and the naming that overwrites nothing; on a disk its bytes
    are linked, not written again.
*   **It has one name.** Before each attempt to name the file the record says so. After
    a crash in between, the file that was named is found and not named twice.
*   **upload_finished comes at least once**: it is sent before the record says so.
"""

from __future__ import annotations
