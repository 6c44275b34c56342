-- A part of a round that compares the queues by model, job by job, with the queue of all.
--
-- ARGV[1]: empty to begin, else what the call before answered. Answers nil at the end of the round.

return compare_queues(ARGV[1] ~= '' and ARGV[1] or nil)
