-- What the request was traced as that asked for a reply, so that the work on it is told as a part of that, on whichever node:
-- `traceparent` of W3C Trace Context, in its version 00. NULL where nothing was traced.
--
-- It is added, and has a default: programs that do not know it go on working.

ALTER TABLE replies ADD COLUMN trace text;
