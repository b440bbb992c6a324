#!/bin/sh
# Publishes a moving test picture, or a file in a loop, as a live stream.
#
#   examples/publish_with_ffmpeg.sh                                  live/camera on this machine
#   examples/publish_with_ffmpeg.sh rtmp://host/live/name?key=KEY    elsewhere, with a publish key
#   examples/publish_with_ffmpeg.sh URL film.mp4                     a file
set -eu

url=${1:-rtmp://localhost/live/camera}
file=${2:-}

if [ -n "$file" ]; then
    set -- -re -stream_loop -1 -i "$file"
else
    set -- -re -f lavfi -i testsrc2=size=1280x720:rate=30 \
           -re -f lavfi -i sine=frequency=440:sample_rate=48000
fi

# A keyframe every 2 s (-g is in frames): players start at one, so it bounds their delay.
exec ffmpeg -nostdin -hide_banner -loglevel warning "$@" \
    -c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p -g 60 \
    -b:v 2500k -maxrate 2500k -bufsize 2500k \
    -c:a aac -b:a 128k \
    -f flv "$url"
