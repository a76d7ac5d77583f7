#!/bin/bash
# Entry point of the quic-interop-runner. Everything but ROLE goes to the endpoint as environment variables.

# Routes through the simulator (part of the base image).
/setup.sh

if [ "$ROLE" = "client" ]; then
  # The simulator is up when its port answers (part of the base image).
  /wait-for-it.sh sim:57832 -s -t 30
fi

mkdir -p /logs
exec node /quicbraid/dist/cli.mjs interop > >(tee -a "/logs/$ROLE.log") 2>&1
