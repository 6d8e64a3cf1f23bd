"""A Google Cloud on loopback, strict where Google is, against which the real gcloud and the real deploy.sh run."""
