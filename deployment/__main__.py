"""./deploy.sh ENV: one Google Cloud project brought to what the files say, and the functions released."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing

from rich.console import Console

from shared.config import ROOT
from shared.errors import ConfigurationError, ServiceError

from .agreement import check_options, is_confirmed
from .calling import Caller
from .changes import Change
from .configuration import Configuration, read_configuration
from .destroying import removals
from .gcloud import Gcloud
from .golden import golden_of
from .making import make_changes, make_plan
from .options import parser
from .planning import Plan, Planner
from .release import Release
from .revisions_present import Deployed, deployed
from .rolling_back import rollbacks
from .showing import console, show_calls, show_commands, show_header, show_plan, show_services
from .signing_in import signed_in
from .smoke import Smoke

DONE, FAILED, WRONG, PLANNED, DECLINED, INTERRUPTED = 0, 1, 2, 3, 4, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 all is as the files say; 1 a step failed, and the same command goes on where it stopped; 2 the request or a
        file is wrong, and nothing was changed; 3 `--plan` found changes; 4 they were not agreed to; 130 Ctrl-C.
    """
    options, out = parser().parse_args(arguments), console()
    try:
        return _run(options, out)
    except ConfigurationError as error:
        sys.stderr.write("\n".join(error.problems) + "\n")
        return WRONG
    except ServiceError as error:
        sys.stderr.write(f"{error.message}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on from here\n")
        return INTERRUPTED


def _run(options: argparse.Namespace, out: Console) -> int:
    configuration = read_configuration(options.environment, ROOT, options.environments)
    check_options(options, configuration)
    of = configuration.environment
    commit, dirty = _commit()
    gcloud = Gcloud(of.project_id)
    account = signed_in(gcloud)
    show_header(out, of, account, commit + (", with changes" if dirty else ""), protected=of.protected)
    with closing(Planner(configuration, gcloud, options.environments)) as planner:
        try:
            if options.status:
                show_services(out, _services(planner))
            elif options.rollback is not None:
                return _roll_back(options, configuration, out, planner)
            elif options.destroy:
                return _destroy(options, configuration, out, planner)
            else:
                return _deploy(options, configuration, out, planner, account, dirty=dirty)
        finally:
            show_calls(out, gcloud.calls, planner.rest.calls)
    return DONE


def _deploy(
    options: argparse.Namespace,
    configuration: Configuration,
    out: Console,
    planner: Planner,
    account: str,
    *,
    dirty: bool,
) -> int:
    plan = planner.plan(options.only, account, options.canary)
    if not plan.changes:
        out.print("nothing to do: everything is as the files say")
        return DONE
    show_plan(out, plan.changes)
    out.print(f"= same: {plan.same} of {plan.same + len(plan.releases)} functions")
    if options.commands:
        show_commands(out, planner.gcloud, plan.changes)
    if options.plan:
        return PLANNED
    if configuration.environment.protected and dirty:
        raise ConfigurationError([f"{configuration.environment.name}: expected a clean tree; commit or stash first"])
    if not is_confirmed(options, configuration):
        return DECLINED
    golden = golden_of(ROOT) if _serves_own_models(configuration, plan) else []
    # Whoever asks was let in just now, or the functions have just been made.
    settling = any(change.kind == "create" for change in (*plan.before, *plan.callers))
    with closing(Caller(planner.names, planner.rest)) as caller:
        smoke = Smoke(planner.names, caller, golden, settling=settling)
        release = Release(planner.names, planner.present, smoke, lambda line: out.print(line, soft_wrap=True))
        make_plan(out, planner, plan, release, options.canary)
    show_services(out, _services(planner))
    return DONE


def _roll_back(options: argparse.Namespace, configuration: Configuration, out: Console, planner: Planner) -> int:
    return _make(options, configuration, out, planner, rollbacks(planner, options.only, options.rollback))


def _destroy(options: argparse.Namespace, configuration: Configuration, out: Console, planner: Planner) -> int:
    if configuration.environment.protected:
        raise ConfigurationError([f"--destroy: expected an environment with PROTECTED=0, {options.environment} has 1"])
    planner.present.read_all()
    changes = list(removals(planner, with_data=options.with_data))
    if not changes:
        out.print("nothing to remove")
        return DONE
    return _make(options, configuration, out, planner, changes)


def _make(
    options: argparse.Namespace, configuration: Configuration, out: Console, planner: Planner, changes: list[Change]
) -> int:
    """Show changes, have them agreed to, and make them."""
    show_plan(out, changes)
    if options.commands:
        show_commands(out, planner.gcloud, changes)
    if options.plan:
        return PLANNED
    if not is_confirmed(options, configuration):
        return DECLINED
    make_changes(out, planner, changes)
    return DONE


def _services(planner: Planner) -> dict[str, Deployed]:
    planner.present.forget("services")
    ours = {service.service for service in planner.names.services}
    there = planner.present.named_services()
    return {name: deployed(each) for name, each in there.items() if name in ours}


def _serves_own_models(configuration: Configuration, plan: Plan) -> bool:
    return not configuration.environment.models_dir and any(change.function == "predict" for change in plan.releases)


def _commit() -> tuple[str, bool]:
    """Return the commit that is checked out, and whether anything differs from it."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, capture_output=True, check=False, text=True, cwd=ROOT)  # noqa: S603 - fixed words
        return done.stdout.strip() if done.returncode == 0 else "unknown"

    return git("rev-parse", "--short", "HEAD"), bool(git("status", "--porcelain"))


if __name__ == "__main__":
    sys.exit(main())
