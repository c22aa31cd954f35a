#!/usr/bin/env python3
"""An S3 server for the tests: moto's, with signatures checked by botocore, which moto does not do for signed addresses.

  s3.py PORT ACCESS_KEY SECRET_KEY REGION

Objects of ACL public-read may be read by anyone. Others need an address signed with the keys (AWS Signature Version 4,
query), which botocore signs again here: the signature must be the same and not too old. Puts are not checked.
Each read is a line "STATUS signed|plain PATH" on standard output.
"""

import datetime
import sys
import urllib.parse

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple

PORT, ACCESS_KEY, SECRET_KEY, REGION = int(sys.argv[1]), *sys.argv[2:5]
MOTO = DomainDispatcherApplication(create_backend_app)


def is_signed_right(host, path, query):
    """True if botocore, given the address without its signature, makes the same signature."""
    pairs = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    time = pairs["X-Amz-Date"]
    if pairs["X-Amz-Credential"] != f"{ACCESS_KEY}/{time[:8]}/{REGION}/s3/aws4_request":
        return False
    signed = datetime.datetime.strptime(time, "%Y%m%dT%H%M%SZ")
    age_s = (datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) - signed).total_seconds()
    if not -60 <= age_s <= int(pairs["X-Amz-Expires"]):
        return False
    rest = "&".join(part for part in query.split("&") if not part.startswith("X-Amz-Signature="))
    request = AWSRequest(method="GET", url=f"http://{host}{path}?{rest}", headers={"host": host})
    request.context["timestamp"] = time
    auth = S3SigV4QueryAuth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    return auth.signature(text, request) == pairs["X-Amz-Signature"]


def app(environ, start_response):
    query = environ.get("QUERY_STRING", "")
    is_read = environ["REQUEST_METHOD"] in ("GET", "HEAD")
    is_signed = "X-Amz-Signature=" in query
    path = environ.get("RAW_URI", environ["PATH_INFO"]).partition("?")[0]

    def start(status, headers, *rest):
        if is_read:
            # One write a line: threads share the output.
            sys.stdout.write(f"{status.partition(' ')[0]} {'signed' if is_signed else 'plain'} {path}\n")
            sys.stdout.flush()
        return start_response(status, headers, *rest)

    if is_read and is_signed and not is_signed_right(environ["HTTP_HOST"], path, query):
        start("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", "0")])
        return [b""]
    return MOTO(environ, start)


class Silent(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_):
        pass


run_simple("127.0.0.1", PORT, app, threaded=True, request_handler=Silent)
