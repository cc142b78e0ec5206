"""The API's operations on studies, whose work is done by jobs. Functions take the caller's session and never commit."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session, aliased, load_only

from api.access import quotas
from api.db import new_id
from api.errors import Invalid, NothingToResume, NotReady
from api.jobs import input_checks, lifecycle, unblocking
from api.jobs import service as jobs
from api.ownership import owner_of
from api.pagination import get_or_404, page
from api.studies import equal_time
from api.tables.jobs import Job
from api.tables.states import TERMINAL, Status
from api.tables.studies import Study, StudyEnd, StudyMember, StudyReference
from rdrkd.errors import Problem
from rdrkd.spec import JOB_SPEC, Compare, JobOutput, RegisteredModel, references
from rdrkd.spec.problems import problems_of
from rdrkd.spec.study import Method
from rdrkd.spec.study import Study as Spec
from rdrkd.study.members import job_spec, teacher_spec
from rdrkd.study.timing import stretched_spec

MOST_MEMBERS = 1000
MOST_ENDS = 1000  # ended members to process in one round
COMPARE_PRIORITY = 100  # a report takes seconds, so it should not wait behind trainings
FIELDS = {"/teacher": "/teacher/model", "/model": "/student"}  # field of a member's spec -> field of the study's
Ended = frozenset({Status.FAILED, Status.CANCELLED})


class Members(NamedTuple):
    """A study's jobs: the teacher's, if the study trains one, and the members with their jobs."""

    teacher: Job | None
    rows: Sequence[tuple[StudyMember, Job]]

    @property
    def jobs(self) -> list[Job]:
        """All jobs of the study."""
        return [*([self.teacher] if self.teacher is not None else []), *(job for _, job in self.rows)]

    @property
    def succeeded(self) -> list[str]:
        """Ids of the members' jobs that have succeeded, in order."""
        return sorted(job.id for _, job in self.rows if job.status == Status.SUCCEEDED)


def create(session: Session, spec: Spec) -> tuple[Study, list[str]]:
    """Queue a study's jobs; return it, and the jobs for which to send wake-up messages.

    Raises:
        Invalid: it has too many members.
        PathNotAllowed, UnknownReference, UnusableReference, QuotaExceeded: as for a job.
    """
    spec = jobs.with_ids(session, spec)
    _check(session, spec)
    study = Study(id=new_id("stu"), name=spec.name, spec=spec.model_dump(mode="json", exclude_unset=True))
    study.owner = owner_of(session)
    session.add(study)
    rings: list[str] = []
    if (training := teacher_spec(spec)) is not None:
        study.teacher_job = jobs.add(session, JOB_SPEC.validate_python(training), study.owner).id
        rings.append(study.teacher_job)
    session.flush()
    session.execute(insert(StudyReference), [{"study_id": study.id, "on_id": id_} for id_ in sorted(_named(spec))])
    rings += _add_missing(session, study, spec)
    quotas.check_jobs(session, study.owner)
    return study, rings


def extend(
    session: Session, study_id: str, methods: Iterable[str | Method], seeds: Iterable[int]
) -> tuple[Study, list[str]]:
    """Add methods and seeds without changing existing members; return the study, and the jobs to wake workers for.

    Raises:
        NotFound: there is no such study.
        Invalid: a method has the name of another one of the study.
        QuotaExceeded: as for a job.
    """
    study = held(session, study_id)
    known = Spec.model_validate(study.spec)
    more = known.model_copy(
        update={
            "methods": (*known.methods, *(method for method in methods if method not in known.methods)),
            "seeds": tuple(dict.fromkeys([*known.seeds, *seeds])),
        }
    )
    content = more.model_dump(mode="json", exclude_unset=True)
    try:
        spec = Spec.model_validate(content)
    except ValidationError as error:
        raise Invalid.at(*problems_of(error, content)) from error
    _check(session, spec)
    study.spec = content
    rings = _add_missing(session, study, spec)
    quotas.check_jobs(session, study.owner)
    return study, rings


def resume(session: Session, study_id: str) -> tuple[Study, list[str]]:
    """Replace each failed or cancelled job by a successor that starts from its newest checkpoint.

    Raises:
        NotFound: there is no such study.
        NothingToResume: no job of it has failed or was cancelled.
        UnknownReference, UnusableReference, QuotaExceeded: as for a job.
    """
    study = held(session, study_id)
    spec, members = Spec.model_validate(study.spec), members_of(session, study)
    # Members that wait for a failed teacher and have not been failed yet.
    unblocking.settle(session, [job.id for job in members.jobs if job.status == Status.QUEUED and job.waits])
    session.expire_all()
    members = members_of(session, study)
    if not any(job.status in Ended for job in members.jobs):
        raise NothingToResume("expected a study with jobs that failed or were cancelled, got one without any")
    jobs.check_references(session, spec.dataset, references(spec))  # they may no longer be shared
    rings: list[str] = []
    if members.teacher is not None and members.teacher.status in Ended:
        study.teacher_job = _successor(session, members.teacher, members.teacher.spec)
        rings.append(study.teacher_job)
    methods = {method.name: method for method in spec.each_method}
    for row, job in members.rows:
        if job.status in Ended:
            method = methods[row.method]
            again = job.spec if method.as_long_as else job_spec(spec, method, row.seed, _teacher_reference(study, spec))
            row.job_id = _successor(session, job, again)
            rings.append(row.job_id)
    quotas.check_jobs(session, study.owner)
    return study, rings


def cancel(session: Session, study_id: str) -> Study:
    """Request the cancellation of all active jobs of a study; a repeated request changes nothing.

    Raises:
        NotFound: there is no such study.
    """
    study = get(session, study_id)
    for job in members_of(session, study).jobs:
        lifecycle.request_cancel(session, job.id)
    session.expire_all()
    return study


def get(session: Session, study_id: str) -> Study:
    """Read one study; raises `NotFound`."""
    return get_or_404(session, Study, study_id)


def held(session: Session, study_id: str) -> Study:
    """Read one study and lock it until this transaction ends; raises `NotFound`."""
    session.execute(update(Study).where(Study.id == study_id).values(name=Study.name))  # a lock on either database
    return get(session, study_id)


def newest(session: Session, limit: int, after: str | None) -> tuple[Sequence[Study], str | None]:
    """Read one page of studies, newest first, and the next cursor."""
    return page(session, select(Study), Study.id, limit, after)


def members_of(session: Session, study: Study) -> Members:
    """Read the jobs of a study, seed by seed, in the order of its methods."""
    teacher = session.get(Job, study.teacher_job) if study.teacher_job else None
    order = {method.name: place for place, method in enumerate(Spec.model_validate(study.spec).each_method)}
    pairs = session.execute(
        select(StudyMember, Job).join(Job, Job.id == StudyMember.job_id).where(StudyMember.study_id == study.id)
    ).all()
    rows = [(member, job) for member, job in pairs]
    return Members(teacher, sorted(rows, key=lambda pair: (pair[0].seed, order[pair[0].method])))


def progress_of(session: Session, studies: Sequence[Study]) -> dict[str, Members]:
    """Read the jobs of each study, by its id, in no order and only what the study's progress depends on."""
    needed = load_only(Job.status, Job.started_at, Job.finished_at, Job.progress, raiseload=True)
    teachers = select(Job).options(needed).where(Job.id.in_([one.teacher_job for one in studies if one.teacher_job]))
    known = {job.id: job for job in session.scalars(teachers)}
    of_these = StudyMember.study_id.in_([one.id for one in studies])
    pairs = select(StudyMember, Job).options(needed).join(Job, Job.id == StudyMember.job_id).where(of_these)
    rows = defaultdict(list)
    for member, job in session.execute(pairs):
        rows[member.study_id].append((member, job))
    return {one.id: Members(known.get(one.teacher_job or ""), rows[one.id]) for one in studies}


def draw(session: Session, study_id: str) -> tuple[Job, list[str]]:
    """Queue a job that draws the report of the members that have succeeded, unless one is already queued.

    Raises:
        NotFound: there is no such study.
        NotReady: no member has succeeded yet.
    """
    study = held(session, study_id)
    succeeded = members_of(session, study).succeeded
    if not succeeded:
        raise NotReady("expected a study with a member that has succeeded, got one without any")
    for job in reports(session, study_id):
        if job.spec["jobs"] == succeeded and job.status not in Ended:
            return job, []
    job = _draw(session, study, succeeded)
    return job, [job.id]


def draw_finished(session: Session) -> list[str]:
    """Queue reports of the studies that have ended since their last report; return the jobs' ids.

    Only studies of which a member has ended since the last call are processed. If they have members whose length is now
    known, these are queued, otherwise the report. A failed report is not retried; the study's owner may request it.
    """
    noted = session.execute(select(StudyEnd.id, StudyEnd.study_id).order_by(StudyEnd.id).limit(MOST_ENDS)).all()
    if not noted:
        return []
    ids = sorted({study_id for _, study_id in noted})
    # A study that another transaction has locked keeps its notes, and is processed later.
    there = select(Study.id).where(Study.id.in_(ids))
    free = session.scalars(there.with_for_update(skip_locked=True, key_share=True)).all()
    held_by_others = set(session.scalars(there)).difference(free)
    own = StudyMember.study_id == Study.id
    trained = select(Job.id).join(StudyMember, StudyMember.job_id == Job.id).where(own)
    last = select(func.max(Job.finished_at)).join(StudyMember, StudyMember.job_id == Job.id).where(own)
    report = aliased(Job)
    drawn = select(report.id).where(
        report.study == Study.id,
        report.created_at >= last.correlate(Study).scalar_subquery(),
    )
    ended = select(Study).where(
        Study.id.in_(free),
        ~trained.where(Job.status.not_in(TERMINAL)).exists(),
        trained.where(Job.status == Status.SUCCEEDED).exists(),
        ~drawn.exists(),
    )
    queued: list[str] = []
    for study in session.scalars(ended).all():
        more = _add_lengthened(session, study, Spec.model_validate(study.spec))
        queued += more or [_draw(session, study, members_of(session, study).succeeded).id]
    done = [id_ for id_, study_id in noted if study_id not in held_by_others]
    session.execute(delete(StudyEnd).where(StudyEnd.id.in_(done)).execution_options(synchronize_session=False))
    return queued


def reports(session: Session, study_id: str) -> Sequence[Job]:
    """Read the jobs that draw a study's report, newest first."""
    return session.scalars(select(Job).where(Job.study == study_id).order_by(Job.id.desc())).all()


def newest_report(session: Session, study_id: str) -> Job | None:
    """Return the newest job that has drawn the study's report."""
    return next((job for job in reports(session, study_id) if job.status == Status.SUCCEEDED), None)


def report(session: Session, study_id: str) -> Job:
    """Return the newest job that has drawn the study's report.

    Raises:
        NotFound: there is no such study.
        NotReady: none has been drawn yet.
    """
    drawn = newest_report(session, get(session, study_id).id)
    if drawn is None:
        raise NotReady("expected a study with a report, got one without: it is created at the end or on request")
    return drawn


def _draw(session: Session, study: Study, succeeded: list[str]) -> Job:
    spec = Compare(
        kind="compare", name=f"{study.name}-report", dataset=study.spec["dataset"], study=study.id,
        jobs=tuple(succeeded), priority=COMPARE_PRIORITY, timeout_seconds=3600,
    )  # fmt: skip
    return jobs.add(session, spec, study.owner)


def _add_missing(session: Session, study: Study, spec: Spec) -> list[str]:
    """Queue the members that have no job yet, seed by seed, so that whole comparisons are complete early."""
    there = session.execute(select(StudyMember.method, StudyMember.seed).where(StudyMember.study_id == study.id))
    known = {(method, seed) for method, seed in there}
    rings: list[str] = []
    for seed in spec.seeds:
        for method in spec.each_method:
            if (method.name, seed) not in known and not method.as_long_as:
                content = job_spec(spec, method, seed, _teacher_reference(study, spec))
                job = jobs.add(session, JOB_SPEC.validate_python(content), study.owner)
                session.add(StudyMember(study_id=study.id, method=method.name, seed=seed, job_id=job.id))
                rings.append(job.id)
    session.flush()
    return [*rings, *_add_lengthened(session, study, spec)]


def _add_lengthened(session: Session, study: Study, spec: Spec) -> list[str]:
    """Queue the members whose length has become known."""
    rows = members_of(session, study).rows
    rings: list[str] = []
    for method, seed, times in equal_time.due(session, spec, rows):
        content = stretched_spec(job_spec(spec, method, seed, _teacher_reference(study, spec)), times)
        job = jobs.add(session, JOB_SPEC.validate_python(content), study.owner)
        session.add(StudyMember(study_id=study.id, method=method.name, seed=seed, job_id=job.id))
        rings.append(job.id)
    session.flush()
    return rings


def _successor(session: Session, job: Job, spec: dict[str, Any]) -> str:
    return jobs.add(session, JOB_SPEC.validate_python(spec), job.owner, continues=job.id).id


def _teacher_reference(study: Study, spec: Spec) -> dict[str, str]:
    if study.teacher_job is not None:
        return {"job": study.teacher_job}
    reference: dict[str, str] = spec.teacher.model.model_dump(mode="json")
    return reference


def _named(spec: Spec) -> set[str]:
    """Return the ids to which a study's own spec refers."""
    ids = {spec.dataset}
    for reference in references(spec).values():
        if isinstance(reference, RegisteredModel):
            ids.add(reference.model)
        elif isinstance(reference, JobOutput):
            ids.add(reference.job)
    return ids


def check_references(session: Session, spec: Spec) -> None:
    """Refuse a study with too many members, or with references that do not exist.

    Raises:
        Invalid: it has too many members.
        PathNotAllowed, UnknownReference, UnusableReference: as for a job.
    """
    count = len(spec.each_method) * len(spec.seeds)
    if count > MOST_MEMBERS:
        raise Invalid.at(Problem("/seeds", f"expected at most {MOST_MEMBERS} members, got {count}"))
    jobs.check_references(session, spec.dataset, references(spec))


def _check(session: Session, spec: Spec) -> None:
    check_references(session, spec)
    if problems := list(dict.fromkeys(faults(session, spec))):
        raise Invalid.at(*problems)


def faults(session: Session, spec: Spec) -> Iterator[Problem]:
    """Yield the problems that would fail the teacher or every seed of a method, by the study's fields."""
    trained = teacher_spec(spec)
    if trained is not None:
        for problem in input_checks.faults(session, JOB_SPEC.validate_python(trained)):
            yield Problem(f"/teacher{problem.where}" if problem.where != "/dataset" else problem.where, problem.detail)
    teacher = spec.teacher.model.model_dump(mode="json") if trained is None else {"job": "job_" + "0" * 32}  # unknown
    for method in spec.each_method:
        member = JOB_SPEC.validate_python(job_spec(spec, method, spec.seeds[0], teacher))
        for problem in input_checks.faults(session, member):
            where = FIELDS.get(problem.where, problem.where)
            of = f" (method {method.name})" if where.startswith("/distillation") else ""
            yield Problem("/methods" if of else where, problem.detail + of)
