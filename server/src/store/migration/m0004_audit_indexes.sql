-- Audit events of users and sessions are found segment by segment (store/audit/search.rs). Three indexes over all events cost four
-- times as much as the events: each batch of reads wrote to many of their pages.

CREATE INDEX audit_event_segment_by_subject ON audit_event
    ((chain_number * 1073741824 + sequence / 8192), subject_user_id) WHERE subject_user_id IS NOT NULL;
-- Most users act on themselves; the index of subjects finds those events.
CREATE INDEX audit_event_segment_by_target ON audit_event
    ((chain_number * 1073741824 + sequence / 8192), target_user_id)
    WHERE target_user_id IS NOT NULL AND target_user_id IS DISTINCT FROM subject_user_id;
CREATE INDEX audit_event_segment_by_session ON audit_event
    ((chain_number * 1073741824 + sequence / 8192), session_id) WHERE session_id IS NOT NULL;

DROP INDEX audit_event_by_subject;
DROP INDEX audit_event_by_target;
DROP INDEX audit_event_by_session;
