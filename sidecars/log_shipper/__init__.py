"""Ship the lines of log files to Elasticsearch: nothing lost, nothing doubled.

The log file is the queue. There is no data buffer on disk: back-pressure means "stop reading and keep the
file open", and the checkpoint of a file is the lowest offset that is not yet acknowledged.

Guarantees
- A file is let go only when it is read to its end and all of it is acknowledged; never on a timer.
- A line is acknowledged when Elasticsearch stored it, said that it already has it (409 on our own id), or
  when it was refused for good and stands, with the reason, in the dead-letter file.
- Document ids are made of the file's identity, the offset and a hash of the line, so what is read again
  after a crash, a cut connection or a lost state folder is recognised and not doubled.

Not guaranteed: a data stream recognises a repeated id only within its present write index, so a repeat
across a rollover is a second document; and the bytes that logrotate's copytruncate itself drops between
copy and truncation were in no file that anybody could read.

Stop order (native): last scan, read every file to its end (an unterminated last line too), send, write the
checkpoint, exit. With `lifecycle: ordinary` it first keeps tailing until the files were quiet for
`quiet_seconds`. Each step has its share of the grace (`core.grace`), so it is gone 2 s before the grace ends, and says
how many bytes stay undelivered: at SIGTERM, every few seconds, and at the end. A request that hangs meanwhile is sent
once more beside itself (`core.hedging`).
"""
