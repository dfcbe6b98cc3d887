# The image of one program, for those who have Docker; make images packs all three without it.
#   docker build --build-arg PROGRAM=windlass-agent -t windlass-agent .
# PROGRAM is windlass-hub, windlass-agent or windlass.
ARG PROGRAM=windlass-hub

# Compiled on the building machine's own architecture, for whatever --platform asks for.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG PROGRAM
ARG VERSION=v0.1.0-dev
ARG TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go run ./hack/images -files /image -zoneinfo "$(go env GOROOT)/lib/time/zoneinfo.zip"
RUN make programs GOOS=linux GOARCH=$TARGETARCH VERSION=$VERSION PROGRAMS=./cmd/$PROGRAM INTO=/image/usr/local/bin

FROM scratch AS files
ARG PROGRAM
ARG VERSION=v0.1.0-dev
COPY --from=build /image/ /
USER 65532:65532
WORKDIR /
ENV ZONEINFO=/usr/share/zoneinfo.zip
LABEL org.opencontainers.image.title=$PROGRAM \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.source=https://windlass.dev/windlass \
      org.opencontainers.image.licenses=Apache-2.0

# An entrypoint without a shell can't contain a variable, so there is one stage for each program.
FROM files AS windlass-hub
LABEL org.opencontainers.image.description="The hub of Windlass: applications over many Kubernetes clusters, from one API"
ENTRYPOINT ["/usr/local/bin/windlass-hub"]

FROM files AS windlass-agent
LABEL org.opencontainers.image.description="The agent of Windlass: joins a Kubernetes cluster to a hub and applies what is meant for it"
ENTRYPOINT ["/usr/local/bin/windlass-agent"]

FROM files AS windlass
LABEL org.opencontainers.image.description="The command line of Windlass, with kubectl in it"
ENTRYPOINT ["/usr/local/bin/windlass"]

FROM $PROGRAM
