#!/usr/bin/env bash
# One Google Cloud project brought to what the files say: ./deploy.sh ENV [options]; ./deploy.sh --help lists them.
# --rehearse[=FOLDER] does the same against a Google Cloud on this machine, which is kept in FOLDER between runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

rehearsal=""
arguments=()
for argument in "$@"; do
	case $argument in
	--rehearse) rehearsal=.local/rehearsal ;;
	--rehearse=*) rehearsal=${argument#*=} ;;
	*) arguments+=("$argument") ;;
	esac
done

if ! command -v gcloud >/dev/null; then
	echo "deploy.sh needs Google Cloud's command line, gcloud 528 or newer: https://cloud.google.com/sdk/docs/install" >&2
	exit 2
fi

sdk=$(dirname "$(dirname "$(readlink -f "$(command -v gcloud)")")")
if [ -f "$sdk/VERSION" ] && [ "$(cut -d. -f1 "$sdk/VERSION")" -lt 528 ]; then
	echo "deploy.sh needs gcloud 528 or newer, this is $(cat "$sdk/VERSION"): gcloud components update" >&2
	exit 2
fi

# A deployment that went through somebody's proxy, or half to an emulator, would not be where it says it is.
if [ -z "$rehearsal" ]; then
	redirected=$(compgen -e | grep -iE '^(CLOUDSDK_API_ENDPOINT_OVERRIDES_.+|CLOUDSDK_PROXY_.+|(HTTPS?|ALL)_PROXY|.+_EMULATOR_HOST)$' || true)
	if [ -n "$redirected" ]; then
		echo "deploy.sh speaks to Google itself: unset $(echo $redirected), or rehearse with --rehearse" >&2
		exit 2
	fi
fi

make --silent .venv/.ready
if [ -n "$rehearsal" ]; then
	exec .venv/bin/python -m deployment.rehearsal "$rehearsal" --environments environments -- ${arguments[@]+"${arguments[@]}"}
fi
exec .venv/bin/python -m deployment ${arguments[@]+"${arguments[@]}"}
