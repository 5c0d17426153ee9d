#!/bin/sh
# mosquitto with the users of deploy/emqx/users.csv, of whom the bridge may also publish: it stands for the devices.
set -e
tail -n +2 /opt/emqx/etc/users.csv | cut -d, -f1,2 | tr , : > /tmp/passwords
mosquitto_passwd -U /tmp/passwords
printf 'user argusiq-bridge\ntopic readwrite #\n' > /tmp/access
chmod 0600 /tmp/passwords /tmp/access
cat > /tmp/mosquitto.conf <<CONFIGURATION
user root
listener 1883
allow_anonymous false
password_file /tmp/passwords
acl_file /tmp/access
max_queued_messages 0
max_inflight_messages 0
CONFIGURATION
exec mosquitto -c /tmp/mosquitto.conf
