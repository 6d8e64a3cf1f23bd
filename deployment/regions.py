"""Where Google Cloud can hold an environment. gcloud takes any word for a region and fails halfway; this does not."""

# Regions with Cloud Run as well as Cloud Scheduler, whose jobs stand beside the functions. As Google's pages
# listed them in November 2026; one that has been opened since is added here.
REGIONS = (
    *(
        "asia-east1",
        "asia-east2",
        "asia-northeast1",
        "asia-northeast2",
        "asia-northeast3",
        "asia-south1",
        "asia-south2",
    ),
    *("asia-southeast1", "asia-southeast2", "australia-southeast1"),
    *(
        "europe-central2",
        "europe-west1",
        "europe-west2",
        "europe-west3",
        "europe-west4",
        "europe-west6",
        "europe-west12",
    ),
    *("me-central1", "me-central2", "me-west1"),
    *("northamerica-northeast1", "northamerica-northeast2", "southamerica-east1"),
    *("us-central1", "us-east1", "us-east4", "us-west1", "us-west2", "us-west3", "us-west4"),
)
# Firestore holds a database in one region, or in several near each other; November 2026 as well.
FIRESTORE_LOCATIONS = (
    *("eur3", "nam5", "nam7"),
    *("africa-south1", "asia-east1", "asia-east2", "asia-northeast1", "asia-northeast2", "asia-northeast3"),
    *("asia-south1", "asia-south2", "asia-southeast1", "asia-southeast2", "asia-southeast3"),
    *("australia-southeast1", "australia-southeast2"),
    *("europe-central2", "europe-north1", "europe-north2", "europe-southwest1", "europe-west1", "europe-west2"),
    *("europe-west3", "europe-west4", "europe-west6", "europe-west8", "europe-west9", "europe-west10", "europe-west12"),
    *("me-central1", "me-central2", "me-west1"),
    *("northamerica-northeast1", "northamerica-northeast2", "northamerica-south1"),
    *("southamerica-east1", "southamerica-west1"),
    *("us-central1", "us-east1", "us-east4", "us-east5", "us-south1", "us-west1", "us-west2", "us-west3", "us-west4"),
)
# The versions of Python that Cloud Run has and every library of ours has wheels for.
PYTHON_RUNTIMES = ("python311", "python312", "python313")
